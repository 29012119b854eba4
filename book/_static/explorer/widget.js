/* The explorer in Jupyter: positions go to the kernel, numbers come back; arrays travel as buffers beside the message. */
function explorerUnpacked(value, buffers) {
  if (Array.isArray(value)) return value.map((one) => explorerUnpacked(one, buffers));
  if (value === null || typeof value !== "object") return value;
  if ("buffer" in value) {
    const { buffer, byteOffset, byteLength } = buffers[value.buffer];
    return Array.from(new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)));
  }
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, explorerUnpacked(one, buffers)]));
}

function render({ model, el }) {
  const root = document.createElement("div"), id = Math.random().toString(36).slice(2);
  root.className = "explorer";
  el.append(root);
  const { show, follow, refuse, adopt } = explorer.mount(root, {
    controls: model.get("controls"),
    state: model.get("state"),
    start: model.get("start"),
    ask: (state, number, against) => model.send({ kind: "move", shown_by: id, number, state, against }),
  });
  const heard = (content, buffers) => {
    if (content.kind === "moved") return adopt(content.state);
    if (content.shown_by !== id) return; // another view of the same explorer asked
    const answers = { view: show, following: follow };
    if (content.kind === "refused") refuse(content.number, content.problem);
    else answers[content.kind](content.number, explorerUnpacked(content.view, buffers));
  };
  model.on("msg:custom", heard);
  adopt({});
  return () => model.off("msg:custom", heard);
}

export default { render };

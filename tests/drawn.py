"""What a figure says: the texts of its titles, axes, notes and legends."""


def texts(figure) -> str:
    found = [axis.get_title(loc="left") for axis in figure.axes]
    for axis in figure.axes:
        labels = (*axis.texts, axis.xaxis.label, axis.yaxis.label, *axis.get_xticklabels(), *axis.get_yticklabels())
        found += [label.get_text() for label in labels]
    return " ".join([*found, *(text.get_text() for legend in figure.legends for text in legend.get_texts())])

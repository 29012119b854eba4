"""vLLM's platform for processors, with the second step in flight that vLLM's own turns off; found as a plugin."""

from __future__ import annotations

import os

from vllm.platforms.cpu import CpuPlatform


class Platform(CpuPlatform):
    @classmethod
    def check_and_update_config(cls, vllm_config) -> None:
        super().check_and_update_config(vllm_config)
        vllm_config.scheduler_config.async_scheduling = True


def named() -> str | None:
    """The platform's name where ENGINE_TWO is set, else nothing: vLLM takes its own."""
    return "two_steps.Platform" if os.environ.get("ENGINE_TWO") else None

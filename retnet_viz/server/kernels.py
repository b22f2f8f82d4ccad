"""Which Python runs the cells."""

from __future__ import annotations

import sys
from typing import Any

from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, KernelSpecManager


class OwnKernelSpecManager(KernelSpecManager):
    """Runs notebooks in the Python that runs the server, whatever a user's folders hold.

    A kernel named python3 may be registered in a home folder and lack this package.
    """

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The specification of `kernel_name`; raises NoSuchKernel when there is none."""
        spec = super().get_kernel_spec(kernel_name)
        if kernel_name == NATIVE_KERNEL_NAME:
            launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            spec.argv = [*launch, "--log-level=ERROR"]
        return spec

    def get_all_specs(self) -> dict[str, Any]:
        """Every kernel's specification by its name."""
        specs: dict[str, Any] = super().get_all_specs()
        if NATIVE_KERNEL_NAME in specs:
            specs[NATIVE_KERNEL_NAME]["spec"] = self.get_kernel_spec(NATIVE_KERNEL_NAME).to_dict()
        return specs

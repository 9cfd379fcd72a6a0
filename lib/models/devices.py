"""Where things are computed, how exactly, and that twice gives the same."""

import os

# Read by CUDA once, before its first matrix product.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch


def pick(device: str = "auto") -> torch.device:
    """``auto`` is the GPU if there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 where ``precision`` says so; else nothing changes."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def make_deterministic() -> None:
    """Have torch use deterministic kernels, and warn where a CUDA operation has none.

    CUDA's fused attention kernels are not deterministic in the backward pass; the plain one is.
    """
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Else every new tensor is filled first, a debugging aid that takes a twentieth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.matmul.allow_tf32 = False

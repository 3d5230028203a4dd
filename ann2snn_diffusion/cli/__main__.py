"""``python -m ann2snn_diffusion.cli``, for launchers such as accelerate."""

from ann2snn_diffusion.cli import main

if __name__ == "__main__":
    main()

"""What people look at: tables, plots, grids of images, model cards."""

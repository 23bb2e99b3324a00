"""The default augmentation in several libraries: `comparison` measures it; one module per library implements it."""

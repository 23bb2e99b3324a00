"""The default augmentation in several libraries: `comparison` measures it, one module a library does it."""

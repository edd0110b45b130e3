"""The one question backends answer, and how a `Spec` or a VNN-LIB file becomes it."""

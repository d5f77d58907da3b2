//! What the kernel half and the user half share.

//! What goes into a run and what comes out of it, however it is run

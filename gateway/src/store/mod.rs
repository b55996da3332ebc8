//! What outlives the gateway: the readings that servers have not taken yet, and its state.

mod files;
mod folder;
mod log;
mod state;

pub use files::FileDisk;
pub use folder::{FolderError, FolderLock};
pub use log::{buffer_folder, log_options};
pub use state::State;

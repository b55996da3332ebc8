//! What outlives the gateway: the readings that servers have not taken yet, and its state.

mod files;
mod folder;
mod state;

pub use files::FileDisk;
pub use folder::{FolderError, FolderLock};
pub use state::State;

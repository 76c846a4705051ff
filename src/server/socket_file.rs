//! The file of a Unix socket: its permissions and its removal.
//!
//! A bound socket refuses connections until `listen` is called, whatever the mode of its file. Mode and group are
//! therefore set between `bind` and `listen`, and the socket never accepts connections with wider permissions than
//! configured. (A umask would apply to the whole process.)

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket as Socket, UnixStream};

use crate::config::UnixSocket;

/// The file of a listening socket. An owned file is removed on drop, unless another file has taken its path.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode; `None` if the file is not owned and must not be removed.
    identity: Option<(u64, u64)>,
}

/// Length of the accept queue.
const BACKLOG: u32 = 1024;

/// Listens at a path, and replaces the file that a killed process left there.
///
/// # Errors
/// The system's error; `AddrInUse` if another process listens there.
pub(super) async fn listen(path: &Path, access: &UnixSocket) -> io::Result<(UnixListener, SocketFile)> {
    remove_abandoned(path).await;
    let socket = Socket::new_stream()?;
    socket.bind(path)?;
    // The file is owned from here on, so it is also removed if a later step fails.
    let file = SocketFile { path: path.to_owned(), identity: Some(identity(path)?) };
    if access.group.is_some() {
        std::os::unix::fs::lchown(path, None, access.group)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode))?;
    Ok((socket.listen(BACKLOG)?, file))
}

impl SocketFile {
    /// The file of a socket that another process opened. It is not removed.
    pub(super) fn of_another(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(ours) = self.identity
            && identity(&self.path).is_ok_and(|identity| identity == ours)
        {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Removes a socket file without a listener, which a killed process left.
async fn remove_abandoned(path: &Path) {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path)
            .await
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        let _ = std::fs::remove_file(path);
    }
}

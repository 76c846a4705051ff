//! The file of a Unix socket: who may open it, and when it goes.
//!
//! A socket that nobody listens at yet refuses every connection, whatever the mode of its file. So the mode and
//! the group are set between binding and listening, and there is no moment at which the socket is more open than
//! it shall be. (A umask would be the whole process's.)

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket as Socket, UnixStream};

use crate::config::UnixSocket;

/// The file of a socket that is listened at. One of ours is removed when this goes, unless another has taken its
/// place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// What it is known by; none where it is not ours to remove.
    identity: Option<(u64, u64)>,
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens at a path, in place of a file that was left by a process that was killed.
///
/// # Errors
/// The system's; `AddrInUse` where somebody listens there.
pub(super) async fn listen(path: &Path, access: &UnixSocket) -> io::Result<(UnixListener, SocketFile)> {
    remove_abandoned(path).await;
    let socket = Socket::new_stream()?;
    socket.bind(path)?;
    // From here on the file is ours, and goes with us, also where something fails.
    let file = SocketFile { path: path.to_owned(), identity: Some(identity(path)?) };
    if access.group.is_some() {
        std::os::unix::fs::lchown(path, None, access.group)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode))?;
    Ok((socket.listen(BACKLOG)?, file))
}

impl SocketFile {
    /// The file of a socket that somebody else opened, and that stays when this process ends.
    pub(super) fn of_another(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: None }
    }

    /// Where it is.
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

/// A socket file that nobody listens at is left from a process that was killed.
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

//! How much memory the server takes.

use std::fs;
use std::path::Path;

/// The process that listens on a port of this machine, as far as the system tells us.
pub(super) fn listening_on(port: u16) -> Option<u32> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let inode = tables.iter().find_map(|table| inode_of(table, port))?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    numbers.find(|number| {
        let files = fs::read_dir(Path::new("/proc").join(number.to_string()).join("fd"));
        let mut links =
            files.into_iter().flatten().flatten().filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| link == Path::new(&socket))
    })
}

/// The inode of the socket in state 0A, listening, whose local address ends with the port.
fn inode_of(table: &str, port: u16) -> Option<&str> {
    let port = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, _, state) = (columns.next()?, columns.next()?, columns.next()?);
        if local.ends_with(&port) && state == "0A" { columns.nth(5) } else { None }
    })
}

/// The resident memory of a process in MiB.
pub(super) fn resident_mib(process: u32) -> Option<f64> {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    #[test]
    fn a_listening_process_is_found_and_weighed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(super::listening_on(port), Some(std::process::id()));
        assert!(super::resident_mib(std::process::id()).unwrap() > 1.0);
        drop(listener);
        assert_eq!(super::listening_on(port), None);
    }
}

package config

// KeeperSuffix is appended to the path of the BFD process's socket for the one by which
// that process keeps the daemon's sockets over a restart.
const KeeperSuffix = ".keep"

// Keeper is the path of the socket of whoever keeps the daemon's sockets over a restart:
// the BFD process, if it is one that outlives the daemon, else nobody.
func (b BFD) Keeper() string {
	if b.Process != "separate" {
		return ""
	}
	return b.Socket + KeeperSuffix
}

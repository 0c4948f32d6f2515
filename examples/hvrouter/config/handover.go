package config

// HandoverSuffix is appended to the path of the BFD process's socket for the one by which
// that process keeps the daemon's sockets over a restart.
const HandoverSuffix = ".fds"

// HandoverSocket is the path of the socket of whoever keeps the daemon's sockets over a restart:
// the BFD process, if it is one that outlives the daemon, else nobody.
func (b BFD) HandoverSocket() string {
	if b.Process != "separate" {
		return ""
	}
	return b.Socket + HandoverSuffix
}

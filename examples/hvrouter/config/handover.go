package config

// HandoverSuffix is appended to the path of the BFD process's socket for the one by which
// that process keeps the daemon's sockets over a restart.
const HandoverSuffix = ".fds"

// HandoverSocket returns the path of the socket by which the BFD process keeps the daemon's
// sockets over a restart; "" if there is no BFD process that outlives the daemon.
func (b BFD) HandoverSocket() string {
	if b.Process != "separate" {
		return ""
	}
	return b.Socket + HandoverSuffix
}

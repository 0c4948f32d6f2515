package edge

import (
	"fmt"
	"os"
	"syscall"
)

// kind names the sockets that are kept by what they are for and by the namespace that
// they are in: interface indexes mean nothing in another one.
func kind(what, netns string) string {
	if netns == "" {
		return what
	}
	info, err := os.Stat(netns)
	if err != nil {
		return what
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return what
	}
	return fmt.Sprintf("%s@%d", what, s.Ino)
}

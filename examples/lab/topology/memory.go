package topology

import (
	"fmt"
	"os"
	"strings"
)

// Memory is what a running daemon has in memory now (VmRSS), in octets.
func (d *Daemon) Memory() (uint64, error) {
	d.mu.Lock()
	cmd := d.cmd
	d.mu.Unlock()
	if cmd == nil {
		return 0, os.ErrProcessDone
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kib uint64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, os.ErrProcessDone
}

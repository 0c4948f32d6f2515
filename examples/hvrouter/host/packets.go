package host

import (
	"os"
	"strconv"
	"strings"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Sent counts, by interface of the namespace at a path, the packets that were sent over it; nil if
// that cannot be read.
func Sent(path string) (packets map[string]uint64) {
	_ = netns.Do(path, func() error {
		data, err := os.ReadFile("/proc/thread-self/net/dev") // proc_pid_net(5)
		packets = parseSent(string(data))
		return err
	})
	return packets
}

// parseSent reads /proc/net/dev: behind the name of an interface and a colon are eight numbers of
// what was received, and eight of what was sent, octets and packets first.
func parseSent(text string) map[string]uint64 {
	packets := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, numbers, ok := strings.Cut(line, ":")
		if fields := strings.Fields(numbers); ok && len(fields) > 9 {
			if n, err := strconv.ParseUint(fields[9], 10, 64); err == nil {
				packets[strings.TrimSpace(name)] = n
			}
		}
	}
	return packets
}

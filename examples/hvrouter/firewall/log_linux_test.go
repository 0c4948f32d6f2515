package firewall

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// A guest that is dropped two hundred times in a row is counted two hundred times, and
// logged LogRate times a second, after a burst of five (nft's own).
func TestLogLimit(t *testing.T) {
	l := newLab(t)
	log := kernelLog(t)
	l.apply(t, spec())
	const sent, burst, rate = 200, 5, 5
	port := 20000 + os.Getpid()%20000 // others may be logged meanwhile
	begin := time.Now()
	for range sent {
		send(t, l.guest, fmt.Sprintf("203.0.113.254:%d", port))
	}
	most := burst + rate*time.Since(begin).Seconds() + 1
	l.dropped(t, "guest-to-hypervisor", sent)
	said := 0
	nstest.Wait(t, 5*time.Second, "something to be logged", func() bool {
		for _, line := range log() {
			if strings.Contains(line, "hvrouter guest-to-hypervisor: ") && strings.Contains(line, fmt.Sprintf(" DPT=%d ", port)) {
				said++
			}
		}
		return said > 0
	})
	if float64(said) > most {
		t.Errorf("%d packets were logged, want at most %.0f", said, most)
	}
}

// kernelLog has the kernel log for namespaces, too, until the test ends. It returns what
// gives the lines since.
func kernelLog(t *testing.T) (lines func() []string) {
	t.Helper()
	const all = "/proc/sys/net/netfilter/nf_log_all_netns"
	before, err := os.ReadFile(all)
	if err == nil {
		err = os.WriteFile(all, []byte("1"), 0o644)
	}
	if err != nil {
		t.Skip("this kernel does not log for namespaces: ", err)
	}
	t.Cleanup(func() { _ = os.WriteFile(all, before, 0o644) })
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("the kernel's log cannot be read: ", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		t.Fatal(err)
	}
	return func() (list []string) {
		for b := make([]byte, 8192); ; {
			n, err := unix.Read(fd, b) // one record; EPIPE: some were lost
			switch {
			case err == nil:
				list = append(list, string(b[:n]))
			case !errors.Is(err, unix.EPIPE):
				return list
			}
		}
	}
}

// Package netns runs code in a Linux network namespace of the caller's
// choice.
//
// A socket belongs for ever to the namespace of the thread that created it (sock_create
// in net/socket.c takes current->nsproxy->net_ns), so one process can serve many namespaces:
// create the socket inside [Do], use it in any thread.
package netns

import (
	"fmt"
	"os"
)

// Do calls f on a locked operating system thread whose network namespace is the
// one at path, for example "/run/netns/red", "/proc/42/ns/net" or
// "/proc/self/fd/7". An empty path calls f directly, in the caller's namespace.
//
// f must not start goroutines that rely on the namespace: they run on other
// threads. Do needs CAP_SYS_ADMIN unless path is empty. On other systems than
// Linux it returns [errors.ErrUnsupported] for a path that is not empty.
func Do(path string, f func() error) error {
	if path == "" {
		return f()
	}
	target, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer target.Close()
	done := make(chan error, 1)
	go func() { done <- enter(int(target.Fd()), f) }()
	return <-done
}

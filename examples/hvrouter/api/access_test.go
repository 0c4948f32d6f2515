package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// as runs f as another user, on a thread that ends with it.
func as(uid, gid int, groups []uint32, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is no use for anybody else
		var first unsafe.Pointer
		if len(groups) > 0 {
			first = unsafe.Pointer(&groups[0])
		}
		for _, call := range [][4]uintptr{{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0},
			{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)}, {unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)}} {
			if _, _, e := unix.RawSyscall(call[0], call[1], call[2], call[3]); e != 0 {
				done <- e
				return
			}
		}
		done <- f()
	}()
	return <-done
}

// TestAccess: root does everything, members of the group read, and others are told why they may not,
// by the file's mode and by the daemon itself.
func TestAccess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, who may be anybody")
	}
	dir, err := os.MkdirTemp("/tmp", "access") // t.TempDir is root's alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	old := unix.Umask(0)
	l, err := Listen(path, nil)
	unix.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	access := &Access{}
	mode := func(want os.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%v, %v, want %v", info.Mode(), err, want)
		}
	}
	mode(0o600)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- ServeOn(ctx, l, access, &backend{}) }()
	defer func() { end(); <-ended }()
	const user, group, other = 65533, 65532, 65531
	ask := func(gid int, groups []uint32, method, resource string) error {
		return as(user, gid, groups, func() error {
			c, err := dialHere(path)
			if err != nil {
				return err
			}
			defer c.http.CloseIdleConnections()
			return c.Send(context.Background(), method, resource, nil)
		})
	}
	for _, c := range []struct {
		name, group string
		gid         int
		groups      []uint32
		method, url string
		want        string // of the error; "": it is answered
	}{
		{"nobody's", "", other, nil, "GET", "/v1/status", "permission denied: root may use it"},
		{"of no group", fmt.Sprint(group), other, nil, "GET", "/v1/status", fmt.Sprintf("permission denied: root may use it, and members of the group %d may read", group)},
		{"a reader", fmt.Sprint(group), group, nil, "GET", "/v1/status", ""},
		{"a reader by another group", fmt.Sprint(group), other, []uint32{7, group}, "GET", "/v1/status", ""},
		{"a reader who reloads", fmt.Sprint(group), group, nil, "POST", "/v1/reload", "may read, and nothing else"},
		{"a reader who deletes", fmt.Sprint(group), group, nil, "DELETE", "/v1/guests/x", "may read, and nothing else"},
		{"a reader of memory", fmt.Sprint(group), group, nil, "GET", "/debug/pprof/heap", "may read, and nothing else"},
	} {
		if err := access.Share(path, c.group); err != nil {
			t.Fatal(err)
		}
		err := ask(c.gid, c.groups, c.method, c.url)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	mode(0o660)
	// A file that everybody may open, by whatever mistake.
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	var refused *Error
	if err := ask(other, nil, "GET", "/v1/status"); !errors.As(err, &refused) || !strings.Contains(err.Error(), fmt.Sprintf("user %d may not use this daemon", user)) {
		t.Errorf("others: %v", err)
	}
	if err := access.Share(path, ""); err != nil {
		t.Fatal(err)
	}
	mode(0o600)
	c := NewClient(path)
	for _, url := range []string{"/v1/status", "/debug/pprof/goroutine"} {
		var text []byte
		if err := c.do(t.Context(), "GET", url, nil, &text); err != nil || len(text) == 0 {
			t.Errorf("root: %s: %v", url, err)
		}
	}
	if err := access.Share(path, "no-such-group"); err == nil || !strings.Contains(err.Error(), "api-group: there is no group no-such-group") {
		t.Errorf("%v", err)
	}
}

// once returns a dialer of one connection.
func once(c net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return c, nil }
}

// dialHere makes a client whose connection was made on the calling thread.
func dialHere(path string) (*Client, error) {
	c := NewClient(path)
	conn, err := c.http.Transport.(*http.Transport).DialContext(context.Background(), "", "")
	if err != nil {
		return nil, err
	}
	c.http.Transport = &http.Transport{DialContext: once(conn)}
	return c, nil
}

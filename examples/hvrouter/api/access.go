package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Access is who may use a socket: root and the user that the daemon runs as may do everything,
// members of one group may read, and all others nothing. The zero value has no group. It is safe
// for concurrent use.
type Access struct {
	group atomic.Pointer[readers]
}

type readers struct {
	name string
	id   uint32
}

// LookupGroup returns the number of a group; one that is a number needs no entry. "" is none.
func LookupGroup(name string) (id uint32, err error) {
	if name == "" {
		return 0, nil
	}
	text := name
	if strings.Trim(name, "0123456789") != "" {
		g, err := user.LookupGroup(name)
		if err != nil {
			return 0, fmt.Errorf("api-group: there is no group %s", name)
		}
		text = g.Gid
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("api-group: %s: %w", name, err)
	}
	return uint32(n), nil
}

// Share lets the members of a group, "" for none, read over the socket at path, which has mode 0600
// until then. The file's group comes before its mode, so that no other group may ever connect.
func (a *Access) Share(path, group string) error {
	id, err := LookupGroup(group)
	if err != nil {
		return err
	}
	if group == "" {
		a.group.Store(nil)
		return os.Chmod(path, 0o600)
	}
	if err := os.Chown(path, -1, int(id)); err != nil {
		return err
	}
	a.group.Store(&readers{group, id})
	return os.Chmod(path, 0o660)
}

// client is who is at the other end of a connection.
type client struct {
	uid    uint32
	groups []uint32
	err    error // it is not known
}

type clientKey struct{}

// withClient notes whose connection it is.
func withClient(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, clientKey{}, clientOf(c))
}

// clientOf asks the kernel who made a connection (unix(7), SO_PEERCRED and SO_PEERGROUPS).
func clientOf(c net.Conn) (p client) {
	if one, ok := c.(*counted); ok {
		c = one.Conn
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return client{err: fmt.Errorf("%T is no unix socket", c)}
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return client{err: err}
	}
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			p.err = err
			return
		}
		p.uid, p.groups = cred.Uid, append(peerGroups(fd), cred.Gid)
	})
	if err != nil {
		p.err = err
	}
	return p
}

// peerGroups returns the supplementary groups, none on a kernel older than 4.13.
func peerGroups(fd uintptr) []uint32 {
	list := make([]uint32, 64)
	for {
		size := uint32(len(list) * 4)
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS, uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case e == 0:
			return list[:size/4]
		case e == unix.ERANGE && int(size/4) > len(list) && size < 1<<20:
			list = make([]uint32, size/4)
		default:
			return nil
		}
	}
}

// check returns why a request is not allowed, nil if it is. Profiles show the daemon's memory.
func (a *Access) check(r *http.Request) error {
	p, ok := r.Context().Value(clientKey{}).(client)
	group := a.group.Load()
	switch {
	case !ok || p.err != nil:
		return fmt.Errorf("it is not known who asks: %v", p.err)
	case p.uid == 0 || int(p.uid) == os.Geteuid():
		return nil
	case group == nil:
		return fmt.Errorf("user %d may not use this daemon: root may, and no group (api-group)", p.uid)
	case !slices.Contains(p.groups, group.id):
		return fmt.Errorf("user %d may not use this daemon: root may, and members of the group %s may read", p.uid, group.name)
	case r.Method != http.MethodGet || strings.HasPrefix(r.URL.Path, "/debug/"):
		return fmt.Errorf("user %d is of the group %s and may read, and nothing else: this is for root", p.uid, group.name)
	}
	return nil
}

// guard answers requests that are allowed, and refuses others. A nil Access allows all.
func (a *Access) guard(next http.Handler) http.Handler {
	if a == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.check(r); err != nil {
			answer(w, r, func(*http.Request) (any, error) { return nil, status{http.StatusForbidden, err} })
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refusedBy says more than "permission denied" about a socket that may not be opened.
func refusedBy(path string) string {
	who := "root may use it"
	var s unix.Stat_t
	if unix.Stat(path, &s) == nil && s.Mode&0o060 == 0o060 {
		name := strconv.Itoa(int(s.Gid))
		if g, err := user.LookupGroupId(name); err == nil {
			name = g.Name
		}
		who += ", and members of the group " + name + " may read"
	}
	return path + ": permission denied: " + who
}

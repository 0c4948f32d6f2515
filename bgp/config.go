package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Config is the configuration of a [Speaker]. It is copied by [New] and checked
// once.
type Config struct {
	// AS is our autonomous system number, four octets wide. Required.
	AS uint32
	// RouterID is our BGP Identifier, an IPv4 address that is unique in the AS.
	// Required.
	RouterID netip.Addr
	// ClusterID is the cluster identifier of a route reflector (RFC 4456,
	// Section 7), an IPv4 address. Zero means RouterID.
	ClusterID netip.Addr
	// Listen holds the addresses on which peers may connect, with the port (0
	// means 179). An unspecified address listens on all addresses of its
	// family. Empty: no peer can connect, we only dial, but for peers with PeerConfig.Listen.
	Listen []netip.AddrPort
	// Interface binds the sockets of Listen to a device (SO_BINDTODEVICE), which may be a
	// VRF: nobody else hears what arrives in one. "" binds to none. A Listener of the
	// caller's own ignores it.
	Interface string
	// Listener, if not nil, opens the listening sockets instead of the kernel's
	// TCP; see [ListenFunc].
	Listener ListenFunc
	// Dialer, if not nil, opens outgoing connections instead of the kernel's
	// TCP; see [DialFunc].
	Dialer DialFunc
	// NetNS is the path of the network namespace in which all sockets are
	// opened; empty means the process's own.
	NetNS string
	// Multipath is the number of equally good paths a prefix may have in
	// what [Speaker.WatchRoutes] yields. 0 means 16, 1 switches multipath off.
	//
	// Paths of different neighbouring ASes may share a set if they are equally good otherwise:
	// what other routers call as-path multipath-relax is always on.
	Multipath int
	// AlwaysCompareMED compares MULTI_EXIT_DISC of paths from different neighbouring ASes
	// as well; see [rib.Config].
	AlwaysCompareMED bool
	// GracefulRestart configures both roles of RFC 4724, Section 4, and RFC 9494, Section 4.
	GracefulRestart GracefulRestart
	// MaxDynamicPeers bounds the number of peers that ranges may create, stale
	// ones included. 0 means 4096.
	MaxDynamicPeers int
	// MaxPending bounds the number of connections per listener that have been
	// accepted but are not Established yet. 0 means 1024.
	MaxPending int
	// Random is the source of jitter, uniform in [0, 1). It is called from many
	// goroutines. Nil means math/rand/v2; with a Transport it is required.
	Random func() float64
	// Transport, if not nil, is the clock and the network of a speaker that its caller drives
	// by [Speaker.Driver]; Run is an error then. No socket is opened: Listener, Dialer,
	// Interface, NetNS, and the MD5 keys and TTL security of peers are of no effect.
	Transport Transport
}

// ListenFunc opens a listener for addr. It is called once for each address of
// Config.Listen when Run starts, and for those of PeerConfig.Listen when they are needed. TTL security, MD5 keys and everything else that
// lives in a socket is then up to the caller.
type ListenFunc func(ctx context.Context, addr netip.AddrPort) (net.Listener, error)

// DialFunc opens a connection to a peer from local, which may be the zero
// AddrPort. It must return when ctx ends.
type DialFunc func(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error)

// GracefulRestart configures graceful restart (RFC 4724, Section 4, with the notifications
// of RFC 8538, Section 4) and its long-lived form (RFC 9494, Section 4). The zero value neither
// advertises nor helps.
type GracefulRestart struct {
	// Enabled advertises the capability to every peer, and makes us retain the
	// paths of a peer that restarts.
	Enabled bool
	// Restarting says that this process takes over from one that ended: the R
	// bit is set in our OPENs, and best paths are not selected before
	// End-of-RIB has come from the peers (or DeferralTime has passed).
	Restarting bool
	// ForwardingPreserved says that the forwarding state of the process before
	// us is still in place: the F bits of the first OPEN to each peer. Set it
	// only if that was verified. Later OPENs to a peer always carry F bits: this
	// process has been there all the time.
	ForwardingPreserved bool
	// PreservedFamilies are the families that ForwardingPreserved holds for. Nil means
	// all.
	PreservedFamilies []wire.Family
	// EarlyUpdates makes a restarting speaker select and announce best paths at
	// once and defer only its End-of-RIB. It suits a reflector that installs
	// no routes and cannot know who its clients are: they get routes as they
	// come, and keep what is stale until everybody had EstablishTime to connect.
	EarlyUpdates bool
	// RestartTime is how long the peers shall wait for us, at most 4095 s, in
	// whole seconds. 0 means 120 s.
	RestartTime time.Duration
	// StaleTime bounds how long paths of a peer stay stale after it came back
	// without sending End-of-RIB. 0 means 300 s.
	StaleTime time.Duration
	// DeferralTime bounds how long a restarting speaker waits for End-of-RIB
	// (Selection_Deferral_Timer of RFC 4724, Section 4.1). 0 means RestartTime.
	DeferralTime time.Duration
	// EstablishTime is how long a restarting speaker waits for a configured peer
	// to come up before it is no longer waited for, if another one has come: while none
	// has, it waits for DeferralTime. 0 means 5 s.
	EstablishTime time.Duration
	// LongLivedTime is how long paths are retained as long-lived stale after
	// RestartTime, at most 2^24-1 s, in whole seconds. 0 means that long-lived
	// graceful restart is off.
	LongLivedTime time.Duration
}

func (g GracefulRestart) withDefaults() GracefulRestart {
	g.RestartTime = or(g.RestartTime, 120*time.Second)
	g.StaleTime = or(g.StaleTime, 300*time.Second)
	g.DeferralTime = or(g.DeferralTime, g.RestartTime)
	g.EstablishTime = or(g.EstablishTime, 5*time.Second)
	return g
}

func (g GracefulRestart) check() error {
	if g.RestartTime < 0 || g.RestartTime > 4095*time.Second {
		return fmt.Errorf("restart time %v is outside 0 to 4095 s", g.RestartTime)
	}
	if g.LongLivedTime < 0 || g.LongLivedTime >= 1<<24*time.Second {
		return fmt.Errorf("long-lived time %v is outside 0 to 16777215 s", g.LongLivedTime)
	}
	if g.LongLivedTime > 0 && !g.Enabled {
		return errors.New("a long-lived time needs graceful restart to be enabled")
	}
	return nil
}

func (c Config) withDefaults() (Config, error) {
	if c.AS == 0 {
		return c, errors.New("bgp: config: AS is required")
	}
	if !c.RouterID.Is4() || c.RouterID.IsUnspecified() {
		return c, fmt.Errorf("bgp: config: RouterID %v is not an IPv4 address", c.RouterID)
	}
	if !c.ClusterID.IsValid() {
		c.ClusterID = c.RouterID
	}
	if !c.ClusterID.Is4() {
		return c, fmt.Errorf("bgp: config: ClusterID %v is not an IPv4 address", c.ClusterID)
	}
	if err := c.GracefulRestart.check(); err != nil {
		return c, fmt.Errorf("bgp: config: graceful restart: %w", err)
	}
	if c.Transport != nil && c.Random == nil {
		return c, errors.New("bgp: config: a Transport needs Random, the only source of chance")
	}
	c.GracefulRestart = c.GracefulRestart.withDefaults()
	c.Listen = append([]netip.AddrPort(nil), c.Listen...)
	for i, l := range c.Listen {
		if !l.Addr().IsValid() {
			return c, errors.New("bgp: config: Listen has an address that is not valid")
		}
		if l.Port() == 0 {
			c.Listen[i] = netip.AddrPortFrom(l.Addr(), Port)
		}
	}
	c.MaxDynamicPeers = or(c.MaxDynamicPeers, 4096)
	c.MaxPending = or(c.MaxPending, 1024)
	c.Multipath = or(c.Multipath, 16)
	return c, nil
}

// Port is BGP's TCP port.
const Port = 179

// or returns v unless it is zero.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

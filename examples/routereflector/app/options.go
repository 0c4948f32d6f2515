package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
)

// options are the command line.
type options struct {
	as                  uint32
	routerID, clusterID netip.Addr
	listen              []netip.AddrPort
	clients             []netip.Prefix
	reflectors          []netip.Addr
	offLink             []netip.Prefix
	probes              []netip.Prefix
	addPath             bool
	evpn                bool
	rtConstrain         bool
	rtMemberships       bool
	ttlSecurity         bool
	bfdInterval         time.Duration // 0: no BFD
	bfdMultiplier       uint8
	bfdStrict           fsm.StrictConfig
	md5Key              string
	hold                time.Duration
	restartTime         time.Duration // 0: no graceful restart
	longLived           time.Duration
	limit               rib.PrefixLimit
	limitHold           time.Duration
	maxClients          int
	cold                bool
	api                 string
	netns               string
}

// parse reads the command line. Errors go to out, with the usage.
func parse(args []string, out io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("routereflector", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() {
		fmt.Fprintln(out, "usage: routereflector -as N -router-id ID -listen ADDR:PORT[,...] -clients PREFIX[,...] [flags]\n       routereflector show -api PATH [-j]\n\nflags:")
		fs.PrintDefaults()
	}
	fs.Func("as", "our `AS` number, which is the clients' as well", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 32)
		o.as = uint32(n)
		return err
	})
	fs.TextVar(&o.routerID, "router-id", netip.Addr{}, "our BGP identifier, an IPv4 `address`")
	fs.TextVar(&o.clusterID, "cluster-id", netip.Addr{}, "cluster `id`, an IPv4 address (default: the router id)")
	fs.Func("listen", "`addresses` with port to listen on, separated by commas", func(s string) (err error) {
		o.listen, err = list(s, netip.ParseAddrPort)
		return err
	})
	fs.Func("clients", "`prefixes` of the clients, separated by commas", func(s string) (err error) {
		o.clients, err = list(s, netip.ParsePrefix)
		return err
	})
	fs.Func("reflectors", "`addresses` of the reflectors above us, separated by commas: we dial them, and are a client of theirs", func(s string) (err error) {
		o.reflectors, err = list(s, netip.ParseAddr)
		return err
	})
	fs.Func("off-link-prefixes", "`prefixes` of next hops on other links than the sessions: such paths outlive a client's link", func(s string) (err error) {
		o.offLink, err = list(s, netip.ParsePrefix)
		return err
	})
	fs.Func("elsewhere", "its name is -off-link-prefixes now", func(string) error { return errors.New("its name is -off-link-prefixes now") })
	fs.Func("probes", "answer BFD from these `prefixes`, with or without BGP (at most 1024 addresses)", func(s string) (err error) {
		o.probes, err = list(s, netip.ParsePrefix)
		return err
	})
	fs.BoolVar(&o.addPath, "add-path", false, "send every path of a prefix to clients that take them (RFC 7911)")
	fs.BoolVar(&o.evpn, "evpn", false, "offer EVPN as well (RFC 7432)")
	fs.BoolVar(&o.rtConstrain, "rt-constrain", false, "offer clients route target constraint (RFC 4684): those that take it are sent the EVPN routes that they ask for, others everything; all send everything")
	fs.BoolVar(&o.rtMemberships, "rt-memberships", false, "with -rt-constrain, tell clients what others ask for, so that they send no more than that; all clients must speak it, since what one wants that does not ask, the others do not send")
	fs.BoolVar(&o.ttlSecurity, "ttl-security", false, "send with TTL 255 and demand it (RFC 5082)")
	fs.Func("bfd", "watch clients with BFD: `INTERVAL,MULTIPLIER`, as in 100ms,5", func(s string) (err error) {
		o.bfdInterval, o.bfdMultiplier, err = parseBFD(s)
		return err
	})
	fs.Func("bfd-strict", "sessions wait for BFD (draft-ietf-idr-bgp-bfd-strict-mode): off, on (with clients that offer it, too) or required, a `mode` (default off)", func(s string) (err error) {
		o.bfdStrict.Enabled, o.bfdStrict.Required, err = parseStrict(s)
		return err
	})
	fs.DurationVar(&o.bfdStrict.HoldTime, "bfd-strict-hold-time", 0, "how long an attempt waits for BFD, a `time` (default: BGP's hold time with the client)")
	fs.DurationVar(&o.bfdStrict.HoldDown, "bfd-strict-hold-down", 0, "`time` that BFD must have been up before the session comes up")
	fs.StringVar(&o.md5Key, "md5-key", "", "TCP MD5 `key` of all clients (RFC 2385)")
	fs.DurationVar(&o.hold, "hold", 90*time.Second, "hold `time` to offer")
	fs.DurationVar(&o.restartTime, "restart-time", 120*time.Second, "graceful restart `time` (RFC 4724), 0 for none")
	fs.DurationVar(&o.longLived, "long-lived", time.Hour, "long-lived stale `time` (RFC 9494), 0 for none")
	fs.IntVar(&o.limit.Maximum, "prefix-limit", defaultPrefixes, "the most `prefixes` (with ADD-PATH: paths) of a client in one family, 0 for any number")
	fs.IntVar(&o.limit.PathsPerPrefix, "paths-per-prefix", defaultPathsPerPrefix, "the most `paths` of one prefix of a client, 0 for any number")
	fs.IntVar(&o.limit.Threshold, "prefix-limit-threshold", 75, "`percentage` of -prefix-limit that is worth a warning")
	fs.Func("prefix-limit-action", "beyond a limit: restart (end the session for a while), block (ignore what is new) or warn, an `action` (default restart)", func(s string) (err error) {
		o.limit.Action, err = parseAction(s)
		return err
	})
	fs.DurationVar(&o.limitHold, "prefix-limit-restart-after", time.Minute, "`time` that a client stays out then; twice as long each time, up to an hour")
	fs.IntVar(&o.maxClients, "max-clients", 4096, "the most `clients`, with those of whom only stale paths are left; others are refused")
	fs.BoolVar(&o.cold, "cold", false, "this is no restart: do not hold back End-of-RIB for clients to come back")
	fs.StringVar(&o.api, "api", "", "`path` of a unix socket for `routereflector show`")
	fs.StringVar(&o.netns, "netns", "", "`path` of the network namespace to work in (default: our own)")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if err := o.check(fs.Args()); err != nil {
		fmt.Fprintln(out, "routereflector:", err)
		return o, err
	}
	return o, nil
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.as == 0:
		return errors.New("-as is required")
	case !o.routerID.Is4():
		return errors.New("-router-id must be an IPv4 address")
	case o.clusterID.IsValid() && !o.clusterID.Is4():
		return errors.New("-cluster-id must be an IPv4 address")
	case len(o.listen) == 0:
		return errors.New("-listen is required")
	case len(o.clients) == 0:
		return errors.New("-clients is required")
	case len(o.probes) > 0 && o.bfdInterval == 0:
		return errors.New("-probes needs -bfd")
	case o.bfdStrict.Enabled && o.bfdInterval == 0:
		return errors.New("-bfd-strict needs -bfd")
	case o.bfdStrict.HoldTime < 0 || o.bfdStrict.HoldDown < 0:
		return errors.New("-bfd-strict-hold-time and -bfd-strict-hold-down must not be negative")
	case hosts(o.probes) > maxProbes:
		return fmt.Errorf("-probes: more than %d addresses", maxProbes)
	case o.rtConstrain && !o.evpn:
		return errors.New("-rt-constrain needs -evpn")
	case o.rtMemberships && !o.rtConstrain:
		return errors.New("-rt-memberships needs -rt-constrain")
	case o.rtMemberships && len(o.reflectors) > 0:
		return errors.New("-rt-memberships is not for a reflector with -reflectors: those above would not get what they do not ask for")
	case o.maxClients < 1:
		return errors.New("-max-clients must be 1 or more")
	case o.limitHold < time.Second:
		return errors.New("-prefix-limit-restart-after must be 1s or more")
	}
	if err := o.limit.Check(); err != nil {
		return fmt.Errorf("-prefix-limit: %w", err)
	}
	return nil
}

// The limits of a client, unless told otherwise. The Internet has about 1,000,000 IPv4 and
// 230,000 IPv6 prefixes: an edge router that passes all of them on is within the first, also
// with two paths for each, and a client that announces more costs this process 150 MiB. A
// prefix has a path for each router that announces it, by each of their next hops: a thousand
// paths of one client are a client that has gone wrong.
const (
	defaultPrefixes       = 2_000_000
	defaultPathsPerPrefix = 1024
)

func parseAction(s string) (rib.LimitAction, error) {
	for _, a := range []rib.LimitAction{rib.LimitRestart, rib.LimitBlock, rib.LimitWarn} {
		if s == a.String() {
			return a, nil
		}
	}
	return 0, errors.New("want restart, block or warn")
}

func parseStrict(s string) (on, required bool, err error) {
	switch s {
	case "off":
		return false, false, nil
	case "on":
		return true, false, nil
	case "required":
		return true, true, nil
	}
	return false, false, errors.New("want off, on or required")
}

// list parses what is separated by commas.
func list[T any](s string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, word := range strings.Split(s, ",") {
		v, err := parse(strings.TrimSpace(word))
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func parseBFD(s string) (time.Duration, uint8, error) {
	interval, multiplier, ok := strings.Cut(s, ",")
	if !ok {
		return 0, 0, errors.New("want INTERVAL,MULTIPLIER")
	}
	d, err := time.ParseDuration(interval)
	if err != nil {
		return 0, 0, err
	}
	n, err := strconv.ParseUint(multiplier, 10, 8)
	if err != nil || n == 0 || d <= 0 {
		return 0, 0, errors.New("want a positive INTERVAL and a MULTIPLIER from 1 to 255")
	}
	return d, uint8(n), nil
}

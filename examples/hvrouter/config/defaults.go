package config

import (
	"cmp"
	"time"
)

// fill puts every default in its place. Values that are on by default and can be
// turned off were set before decoding.
func (c *Config) fill() {
	if c.API != "" {
		def(&c.StateDirectory, c.API+".state") // several daemons on one host have several
	}
	def(&c.API, "/run/hvrouter/api.sock")
	def(&c.StateDirectory, "/var/lib/hvrouter")
	defDuration(&c.Audit.Interval, 30*time.Second)
	def(&c.Log, "info")
	def(&c.LogFormat, "text")
	def(&c.LastResortBy, "routes")
	c.BFD.fill(c.API)
	c.BGP.fill()
	for i := range c.Domains {
		c.Domains[i].fill(c.AS)
		for k := range c.Domains[i].Reflectors {
			c.Domains[i].Reflectors[k].PrefixLimit.fill(c.BGP.PrefixLimit)
		}
		for k := range c.Domains[i].Neighbors {
			c.Domains[i].Neighbors[k].PrefixLimit.fill(c.BGP.PrefixLimit)
		}
	}
	for i := range c.Sessions {
		c.Sessions[i].fill(c.AS)
		c.Sessions[i].PrefixLimit.fill(c.BGP.PrefixLimit)
	}
	c.fillNextHops()
	if c.LocalOut != nil {
		def(&c.LocalOut.LastResort, "unreachable")
	}
	c.fillIsolation()
	c.Edge.fill()
	for i := range c.Guests {
		c.Guests[i].fill()
	}
	for i := range c.GuestTemplates {
		c.GuestTemplates[i].fill()
	}
	def(&c.Inventory.State, c.API+".guests")
	for i := range c.Overlays {
		c.Overlays[i].fill(c.Loopback)
		c.Overlays[i].fillEVPN(c.RouterID, c.AS)
		c.Overlays[i].fillGateway()
	}
	c.fillEVPN()
	def(&c.Firewall.Table, "hvrouter")
}

func (b *BFD) fill(api string) {
	// 100 ms x 5 is what the published design runs in production: half a second,
	// and four packets may be lost in a burst.
	defDuration(&b.Interval, 100*time.Millisecond)
	def(&b.Multiplier, 5)
	def(&b.Process, "separate")
	def(&b.Socket, api+".bfd")
	def(&b.Realtime, "auto")
	def(&b.Strict, "off")
	for i := range b.Profiles {
		def(&b.Profiles[i].Interval, b.Interval)
		def(&b.Profiles[i].Multiplier, b.Multiplier)
	}
}

func (b *BGP) fill() {
	def(&b.Port, 179)
	defDuration(&b.ConnectRetry, 5*time.Second)
	defDuration(&b.IdleHold, 60*time.Second)
	def(&b.Multipath, 16)
	defDuration(&b.GracefulRestart.Time, 120*time.Second)
	defDuration(&b.GracefulRestart.Deferral, 30*time.Second)
	b.PrefixLimit.fill(defaultPrefixLimit())
}

func (d *Domain) fill(as uint32) {
	d.home()
	def(&d.Metric, 32)
	def(&d.LastResort, "blackhole")
	for i := range d.Reflectors {
		d.Reflectors[i].fill(as)
	}
	for i := range d.Neighbors {
		d.Neighbors[i].fill(as)
	}
	d.fillUnnumbered()
}

func (r *Reflector) fill(as uint32) {
	def(&r.Name, r.Peer.String())
	def(&r.Fabric, r.Interface)
	def(&r.AS, as)
	r.Import.fill()
	r.Export.fill()
	if len(r.Families) == 0 && r.Peer.IsValid() {
		r.Families = []Family{FamilyOf(r.Peer.Addr)}
	}
}

func (e *Edge) fill() {
	def(&e.PrefixLength4, 24)
	def(&e.Metric, 10)
	def(&e.ARP, "kernel")
	e.RA.fill()
	defDuration(&e.DHCP.Lease, time.Hour)
}

func (g *Guest) fill() {
	def(&g.Interface, g.Name)
	def(&g.LocalPref, 100)
	g.Discovery.fill()
}

func (o *Overlay) fill(loopback Loopback) {
	def(&o.Port, 4789)
	def(&o.MTU, 1500)
	if !o.Local.IsValid() {
		o.Local.Addr = loopback.Address.Addr()
	}
}

func def[T comparable](field *T, value T) { *field = cmp.Or(*field, value) }

func defDuration(field *Duration, value time.Duration) {
	if field.Duration == 0 {
		field.Duration = value
	}
}

// Package bgptest lets BGP speakers talk to each other in memory: a network between them
// that a test cuts, resets and stalls, without sockets, namespaces or privileges. The tests
// of package bgp use it.
//
// A [Network] has as many hosts as there are addresses. A speaker becomes one of them by its
// configuration:
//
//	network := &bgptest.Network{}
//	speaker, err := bgp.New(bgp.Config{
//		AS: 65000, RouterID: addr,
//		Listen:   []netip.AddrPort{netip.AddrPortFrom(addr, bgp.Port)},
//		Listener: network.Listen,
//		Dialer:   network.Dialer(addr),
//	})
//	kill := bgptest.Run(speaker)
//
// Everything waits for channels, condition variables and timers only. In a bubble of package
// testing/synctest, time is virtual, and a hold time of 90 s expires at once:
//
//	synctest.Test(t, func(t *testing.T) {
//		... // two speakers, one session
//		network.Cut(a, b)           // nothing arrives any more, and nobody is told
//		time.Sleep(91 * time.Second)
//		synctest.Wait()             // the speakers have done what there is to do
//		... // the session has ended with Hold Timer Expired
//	})
//
// Octets arrive in order, at once, and never get lost: what TCP does about a lossy network
// has no counterpart here, and neither have its keepalives and timeouts. A connection whose
// network is cut stays until one end closes it. MD5 keys, TTL security and everything else
// that lives in a socket is ignored.
package bgptest

// Package wire is a codec of BGP-4 messages: no state, no I/O, no clock.
//
// A message is read in two steps. [ParseHeader] checks the 19 octets that every
// message starts with; the body then goes to [ParseOpen], [ParseNotification],
// [ParseRouteRefresh] or [Update.Parse]. Writing is the reverse: Append functions
// and methods take a buffer, append one whole message to it, and return it.
//
// # UPDATE
//
// UPDATE is the message that counts, so it is a view. [Update.Parse] walks over
// the message once, does every check of RFC 7606, Section 3, and remembers where things are;
// it allocates nothing unless it finds an error, and the view aliases the caller's
// buffer. NLRI are decoded while a [List] is iterated. The path attributes come
// out in a canonical form, [Attrs]: in ascending order of type, 4-octet AS
// numbers, unknown ones marked partial, without MP_REACH_NLRI, MP_UNREACH_NLRI and
// NEXT_HOP. Two routes have equal attributes exactly if these octets (and the
// [NextHop] beside them) are equal, so that a RIB interns them by a map lookup and
// compares pointers from then on.
//
// [Builder] is the way back: one set of attributes, then NLRI until the message is
// full.
//
// # Errors
//
// Every error is an [*Error]: what is wrong, in which message and attribute, which
// section of which RFC says so, and what to do about it: its [Disposition], and the
// NOTIFICATION to send if that is a session reset. An UPDATE with several errors
// reports the strongest. When an UPDATE has to be treated as a withdraw, its NLRI
// remain enumerable.
//
// # Sources
//
// RFC 4271 (BGP-4), 1997 (communities), 2545 (IPv6), 2918 and 7313 (route refresh),
// 4360 (extended communities), 4456 (route reflection), 4486 and 9384 (Cease
// subcodes), 4724 and 9494 (graceful restart), 4760 (multiprotocol), 5492 and 9072
// (capabilities), 6514 (the PMSI Tunnel attribute), 7432 and 9136 (EVPN NLRI), 4684 (route target membership NLRI), 6793 (4-octet AS numbers), 7606 (error handling), 7607 (AS 0),
// 7911 (ADD-PATH), 8092 (large communities), 8538 (hard reset), 8654 (extended
// messages), 8950 (IPv4 over IPv6 next hops), 9003 (shutdown communication), 9687
// (send hold timer), draft-walton-bgp-hostname-capability (FQDN).
//
// # Limits
//
// IPv4 and IPv6 unicast and route target constraint are decoded, and what bgp/evpn needs of EVPN:
// [List.EVPN]. MP_REACH_NLRI of another family is skipped.
// AIGP, BGP-LS and BGPsec attributes are dropped, as RFC 7311, Section 3.3, and RFC 4271, Section 9, ask of a
// speaker that does not support them; other attributes that are not known pass
// through if they are transitive.
//
// No type of this package is safe for concurrent use unless it says so.
package wire

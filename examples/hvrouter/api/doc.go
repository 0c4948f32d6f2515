// Package api is the daemon's interface to people and programs: JSON over HTTP on
// a unix socket.
//
//	GET    /v1/sessions        []Session     ?peer=PEER, ?domain=NAME, ?interface=NAME
//	POST   /v1/sessions/PEER/reset           ?text=TEXT, ?hard=true
//	POST   /v1/sessions/PEER/disable         ?text=TEXT
//	POST   /v1/sessions/PEER/enable
//	GET    /v1/routes          []Route       ?received=PEER or ?advertised=PEER, ?prefix=PREFIX
//	GET    /v1/domains         []Domain
//	GET    /v1/firewall        []Drop        ?kind=KIND
//	GET    /v1/bfd             []BFD         ?peer=ADDRESS, ?interface=NAME
//	GET    /v1/rib             []RIBEntry    ?domain=NAME, ?prefix=PREFIX
//	GET    /v1/fib             []FIBRoute    ?table=N or the name of a table or domain, ?prefix=PREFIX
//	GET    /v1/guests          []Guest       ?guest=NAME, ?interface=NAME
//	GET    /v1/neighbours      []Neighbour   ?interface=NAME, ?guest=NAME
//	GET    /v1/events          journal.Event, one a line, without end   ?recent=N, ?event=PATTERN
//	GET    /v1/history         []journal.Event   ?since=2026-11-29T14:00:00Z, ?event=PATTERN, ?peer=ADDRESS, ?guest=NAME, ?interface=NAME, ?last=N
//	GET    /v1/health          Health
//	GET    /v1/status          Status
//	GET    /v1/evpn            []EVPN        ?overlay=NAME, ?guest=NAME, ?mac=MAC, ?vtep=ADDRESS
//	GET    /v1/explain         Explanation   ?prefix=PREFIX, ?from=GUEST, ?source=ADDRESS
//	GET    /v1/explain/mac     MACExplanation   ?mac=MAC, ?vni=VNI
//	GET    /v1/explain/address AddressExplanation ?address=ADDRESS, ?vni=VNI
//	GET    /v1/diff            []Difference
//	POST   /v1/guests          guests, one or a list, as in the configuration file
//	PUT    /v1/guests          the same guests, changed
//	PUT    /v1/guests/NAME     one of them
//	DELETE /v1/guests/NAME
//	POST   /v1/guests/NAME     Move: change a guest's local preference or down
//	POST   /v1/reload          Reload        ?force=true, ?dry-run=true, ?confirm=5m, ?file=NAME
//	POST   /v1/reload/confirm
//	POST   /v1/reload/cancel
//	GET    /v1/drain           Drain
//	POST   /v1/drain           Drain         ?all=true
//	POST   /v1/undrain         Drain
//	GET    /v1/openapi.json    all this, as OpenAPI 3.1 (docs/openapi.json)
//	GET    /metrics            metrics, in the format of Prometheus
//	GET    /debug/pprof/       profiles of the daemon, as of net/http/pprof: for root
//
// A reload reads the daemon's file. With ?file the configuration is the body, NAME is for error
// messages, and it becomes the file's content. With ?confirm it is rolled back after that time
// unless it is confirmed before.
//
// A request with many guests is done as a whole, or, if one of them is refused, not at
// all; also if the client has gone meanwhile.
//
// Events are what the daemon logs under a name ("event=bgp-up"): the same names, the same
// attributes. A reader that is slow is never waited for; it loses the oldest and reads an
// event "lost" with their count. The names are stable: docs/events.md lists them.
// /v1/history has those of before, also of earlier runs.
//
// An error is an [Error] with status 400 (the request is wrong), 404 or 409 (it
// conflicts with what is), or 403: root and the daemon's own user may do everything, members of
// the configured group may GET, and others nothing. The kernel says who they are (SO_PEERCRED), and
// the socket's mode is 0600 from its first moment, or 0660 of that group.
package api

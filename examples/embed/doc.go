// Command embed is somebody's agent with a host router inside, in 60 lines: it announces the
// prefix of a guest to route reflectors, installs what they announce as multipath routes, and
// has a BFD process that outlives it. README.md says what that is worth.
//
//	embed ROUTER-ID GUEST-PREFIX REFLECTOR...
package main

// Package domain knows what a routing domain is made of: which routes, rules,
// addresses and sysctls the configuration, the guests that are here, and the
// routes that BGP and others brought call for. It is pure: values in, values out;
// no socket, no clock, no goroutine, and interfaces by name, since an index means
// nothing before the interface exists.
//
// There are two halves.
//
// [Static] computes everything that follows from the configuration and the
// guests alone, whole, each time: persistent (the routes of last resort), rules,
// sysctls, addresses, and what is local to each domain. It is small (a few entries
// a guest) and it is compared with what stood before, so a reload and a guest's
// arrival are the same code.
//
// [RIB] holds what can be large: for each prefix of a domain the three sources
// local, learned and BGP. A change of one of them yields effects (set this route,
// delete that one, announce, withdraw) for that prefix only. The rule in it:
//
//   - local beats learned beats BGP, for the kernel's table: what is local is
//     written by us with the guests' metric; what is learned is in the kernel
//     already; BGP's route is written only where neither exists. A domain with
//     spread joins local and BGP into one multipath route.
//   - local and learned prefixes are announced.
//   - local-out gets a copy of everything in the domains it names, and of what is
//     local in any, with the loopback as source address.
package domain

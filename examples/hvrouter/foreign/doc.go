// Package foreign finds what other programs have put into the kernel that changes what guests'
// packets do: policy rules that come before ours, routes that beat a guest's or let packets leak out
// of its prefixes, routes in the place of those that BGP has, base chains of nftables that drop. It judges by what is there, not by what was
// notified. A foreign route in a domain's table is no mistake by itself: such routes are announced,
// unless redistribute: false says otherwise.
package foreign

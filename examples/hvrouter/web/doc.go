// Package web is a page for browsers that shows what a hypervisor's daemon does: its sessions as a picture
// and as tables, its guests, and its events as they happen. It is a client of the daemon's API like any other
// ([overview]), and changes nothing.
//
// Nobody is asked for a password: the page is for who has an account on the host, and is reached from elsewhere
// by ssh. [Listen] takes loopback addresses and unix sockets only, and [Loopback] refuses requests whose Host is a
// name, so that no other site makes a browser read the page under its own name (DNS rebinding).
package web

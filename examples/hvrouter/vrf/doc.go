// Package vrf makes VRF devices and puts interfaces into them: a VRF is a device with
// a routing table; what comes in on an interface that belongs to it, and what a socket
// bound to it sends, is looked up in that table alone.
//
// Conns are not safe for concurrent use.
package vrf

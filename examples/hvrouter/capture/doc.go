// Package capture writes what is said to a BGP peer, and what it says, into a file: pcapng, by
// gopacket's pcapgo, so that Wireshark and tshark read it.
//
// [Run] opens a packet socket for each interface, with a filter in the kernel: TCP of the session's
// port and UDP of BFD's ports, between the addresses given. A guest's traffic on the same uplink
// costs nothing more than the filter. Each packet is in the file when it has been taken, so that a
// capture is readable however it ends.
//
// Sources: RFC 5881, Section 4; RFC 5883, Section 5; RFC 7880, Section 5.1, for the ports.
package capture

// Package show makes the answers of the API out of what the other parts of the daemon know:
// values in, values out. It asks nothing and owns nothing; the daemon takes the snapshots, those
// of its loop on the loop.
package show

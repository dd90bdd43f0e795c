// SPDX-License-Identifier: Apache-2.0

// Package lists reads files of addresses, one a line, and follows them while they change. Others
// write these files: people, fail2ban, cron jobs. So every line may be junk, and a file may be read
// while it is half written.
//
// A line is an address or a prefix, then perhaps how long it counts, then perhaps a comment:
//
//	198.51.100.7
//	2001:db8::/32  # a comment becomes the reason
//	198.51.100.8 600
//	198.51.100.9 1d ; seconds, or a number with s, m, h or d
package lists

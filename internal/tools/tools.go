// SPDX-License-Identifier: Apache-2.0

// Package tools pins the code generators that do not fit into the receiver's own
// module. The tool directive of go.mod names them; this file only lets the module
// have a package.
package tools

// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the built collector with real servers and clients in network
// namespaces of its own. A second collector receives what it exports, and the tests compare
// that with what nginx, curl and ab did. It needs root and the build tag privileged.
package e2e

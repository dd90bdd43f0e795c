// SPDX-License-Identifier: Apache-2.0

package reading

import "go.opentelemetry.io/collector/pdata/pcommon"

// names are all attributes that any event has.
func names() []string {
	return []string{
		clientAddress, peerAddress, localAddress, localPort, serverAddress, serverPort, executableName, netnsInode, errorType,
		receiveSize, connectionDuration, statusCode, urlPath, clientJA3, clientJA4,
		sourcePrefix, sourceRest, sourceSynListening, sourceSynClosed, sourceNull, sourceFin, sourceXmas, sourceSynFin,
		sourceSynRst, sourceMalformed, sourcePortZero, sourceLand, sourceResetOther, sourceCompleted, sourcePorts,
		sourcePortsFailed, sourcePortsStray, sourceReceiveRate, sourceSilentPort, sourceSilentOpen, sourceResetSyn,
		sourceResetSynAck, sourceResetFlags, sourceHalfOpenReset, sourceHalfOpenTimeout, sourceClosed, sourceUnanswered,
		sourceOpen, sourceOpenSilent, transmitSize, rttSmoothed, closeReason,
		listenerInterval, listenerSyn, listenerCompleted, listenerOverflow, listenerQueueLength, listenerQueueLimit,
		listenerAccept, listenerOpen, listenerOpenAnswered, listenerClosed, listenerClosedAnswered,
		namespaceCookies, namespaceQueueFullCookies, namespaceQueueFullDrops, namespaceOverflows, namespaceEmbryonicResets,
	}
}

// Attributes are those that are read of an event, with the type that each must have. They are
// found by trying, so that they are what the code does.
func Attributes(event Event) map[string]string {
	read := map[string]string{}
	for _, name := range names() {
		for kind, value := range map[string]pcommon.Value{
			"string": pcommon.NewValueStr(""), "int": pcommon.NewValueInt(1), "double": pcommon.NewValueDouble(1),
		} {
			wrong := pcommon.NewValueBool(true)
			if fields[event](&Record{}, name, wrong) == WrongType && fields[event](&Record{}, name, value) != WrongType {
				read[name] = kind
			}
		}
	}
	return read
}

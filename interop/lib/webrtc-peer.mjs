// One stock y-webrtc peer as a process of its own: two in one process would meet without any server. It marks itself
// in a shared map and writes a line with all marks whenever they change.

import wrtc from '@roamhq/wrtc';
import WebSocket from 'ws';
import * as Y from 'yjs';

globalThis.WebSocket = WebSocket;
const { WebrtcProvider } = await import('y-webrtc');

const [url, room, name, password] = process.argv.slice(2);
const doc = new Y.Doc();
const marks = doc.getMap('marks');
doc.on('update', () => console.log([...marks.keys()].sort().join()));
new WebrtcProvider(room, doc, { signaling: [url], peerOpts: { wrtc }, ...(password ? { password } : {}) });
marks.set(name, true);

// The stock client of Automerge documents, without storage.

import * as Automerge from '@automerge/automerge';
import { Repo } from '@automerge/automerge-repo';
import { WebSocketClientAdapter } from '@automerge/automerge-repo-network-websocket';

export class AutomergeRepo {
  payloadBytes = 0;
  handles = new Map();
  repo = new Repo();
  adapter = null;

  constructor(url) {
    this.url = url;
  }

  /** `new` makes a document; everything else is the URL of one. */
  async open(name) {
    if (this.handles.has(name)) return name;
    const handle = name === 'new' ? this.repo.create({ text: '' }) : await this.repo.find(name);
    this.handles.set(handle.url, handle);
    return handle.url;
  }

  async openMany(_, count) {
    const names = [];
    for (let n = 0; n < count; n += 1) names.push(await this.open('new'));
    for (const name of names) this.edit(name, [[0, 0, 'x']]);
    return names;
  }

  length(name) {
    return this.handles.get(name).doc().text.length;
  }

  watch(name, heard) {
    this.handles.get(name).on('change', heard);
  }

  /** Each edit is a change. */
  edit(name, edits) {
    const handle = this.handles.get(name);
    const before = Automerge.getHeads(handle.doc());
    if (edits.length === 1) {
      handle.change((doc) => Automerge.splice(doc, ['text'], ...edits[0]));
      const changes = Automerge.getChangesSince(handle.doc(), before);
      for (const change of changes) this.payloadBytes += change.length;
      return;
    }
    // The repo tells its network of each change that it sees; who was offline has them all at once.
    handle.update((doc) => {
      for (const edit of edits) doc = Automerge.change(doc, (doc) => Automerge.splice(doc, ['text'], ...edit));
      return doc;
    });
  }

  /** What the server's storage has said that it has. */
  serverHas(handle) {
    const server = this.repo.peers.length > 0 && this.repo.getStorageIdOfPeer(this.repo.peers[0]);
    const has = (server && handle.getSyncInfo(server)?.lastHeads) || [];
    return String([...has].sort()) === String([...handle.heads()].sort());
  }

  isSynced(name) {
    return this.serverHas(this.handles.get(name));
  }

  isSaved(name) {
    return this.isSynced(name);
  }

  /** Nothing tells so of what did not change. */
  isAllSynced() {
    return true;
  }

  async connect() {
    if (this.adapter !== null) return;
    this.adapter = new WebSocketClientAdapter(`${this.url}/automerge`);
    this.repo.networkSubsystem.addNetworkAdapter(this.adapter);
    await this.adapter.whenReady();
  }

  async disconnect() {
    this.repo.networkSubsystem.removeNetworkAdapter(this.adapter);
    this.adapter = null;
    while (this.repo.peers.length > 0) await new Promise((done) => setTimeout(done, 1));
  }
}

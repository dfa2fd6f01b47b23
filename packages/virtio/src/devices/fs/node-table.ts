import type { Entry, FileTree, OpenFile } from './file-tree.ts';
import { FsError } from './spec-errno.ts';
import { rootNode } from './spec-fuse.ts';

/** A file that the guest knows by a number. */
export class KnownNode {
  readonly id: number;
  readonly node: object;
  /** How often the guest was told of it, less how often it forgot it. */
  lookups = 0;
  /** How often the tree answered it. */
  uses = 0;
  /** Open files of it, and requests that are under way: they keep it though it is forgotten. */
  holds = 0;

  constructor(id: number, node: object) {
    this.id = id;
    this.node = node;
  }
}

/**
 * The files that a guest knows: numbers to it, objects to the tree. A number is never given twice, so one that is forged or
 * stale is known for it.
 */
export class NodeTable {
  readonly #tree: FileTree<object, OpenFile>;
  readonly #most: number;
  readonly #byId = new Map<number, KnownNode>();
  readonly #byNode = new Map<object, KnownNode>();
  #nextId = rootNode;

  constructor(tree: FileTree<object, OpenFile>, most: number) {
    this.#tree = tree;
    this.#most = most;
    this.#add(tree.root, rootNode);
  }

  /** How many files the guest knows, the root among them. */
  get size(): number {
    return this.#byId.size;
  }

  /** @throws {FsError} ESTALE for a number that stands for nothing, or for nothing any more. */
  get(id: number): KnownNode {
    const known = this.#byId.get(id);
    if (known === undefined) throw FsError.of('ESTALE');
    return known;
  }

  /** The same; `undefined` for a number that stands for nothing. */
  tryGet(id: number): KnownNode | undefined {
    return this.#byId.get(id);
  }

  /** The file as the guest knows it, if it does. */
  find(node: object): KnownNode | undefined {
    return this.#byNode.get(node);
  }

  /**
   * Tells the guest of a file once more.
   *
   * @throws {FsError} ENFILE when it knows too many; the tree has its use back.
   */
  found(entry: Entry<object>): KnownNode {
    const { node } = entry;
    let known = this.#byNode.get(node);
    if (known === undefined) {
      if (this.#byId.size >= this.#most) {
        this.#tree.forget?.(node, 1);
        throw FsError.of('ENFILE');
      }
      known = this.#add(node, this.#nextId);
    }
    known.lookups++;
    known.uses++;
    return known;
  }

  /** The guest forgets what it was told `count` times; one that counts wrong forgets it all, and never the root. */
  forget(id: number, count: number): void {
    const known = this.#byId.get(id);
    if (known === undefined || id === rootNode) return;
    known.lookups = Math.max(0, known.lookups - count);
    this.drop(known);
  }

  /** Lets go of a file that nothing refers to. */
  drop(known: KnownNode): void {
    if (known.lookups > 0 || known.holds > 0 || known.id === rootNode) return;
    this.#byId.delete(known.id);
    // After a reset the guest may know the same file anew.
    if (this.#byNode.get(known.node) === known) this.#byNode.delete(known.node);
    this.#tree.forget?.(known.node, known.uses);
  }

  /** The guest is gone: it knows the root alone. What is still held is let go with its last hold. */
  clear(): void {
    const all = [...this.#byId.values()];
    this.#byId.clear();
    this.#byNode.clear();
    for (const known of all) {
      known.lookups = 0;
      this.drop(known);
    }
    // What was given stays given: numbers of before are stale.
    const next = this.#nextId;
    this.#add(this.#tree.root, rootNode);
    this.#nextId = next;
  }

  /** All that is known but the root, for a snapshot. */
  *others(): IterableIterator<KnownNode> {
    for (const known of this.#byId.values()) if (known.id !== rootNode) yield known;
  }

  /** The number that the next file gets. */
  get nextId(): number {
    return this.#nextId;
  }

  /** Takes back what a snapshot had. */
  restore(
    nextId: number,
    nodes: readonly { readonly id: number; readonly node: object; readonly lookups: number }[],
  ): void {
    this.clear();
    for (const { id, node, lookups } of nodes) {
      const known = this.#add(node, id);
      known.lookups = lookups;
      known.uses = 1;
    }
    this.#nextId = nextId;
  }

  #add(node: object, id: number): KnownNode {
    const known = new KnownNode(id, node);
    this.#byId.set(id, known);
    this.#byNode.set(node, known);
    this.#nextId = id + 1;
    return known;
  }
}

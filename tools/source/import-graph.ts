import { importsOf } from './imports.ts';
import type { Source } from './source.ts';
import { resolveImport, type Workspace } from './workspace.ts';

/** An import of one file of the repository by another. */
export interface Edge {
  readonly from: string;
  readonly to: string;
  readonly line: number;
}

/** Who imports whom, type imports included. */
export class ImportGraph {
  readonly edges: readonly Edge[];
  readonly #outgoing: ReadonlyMap<string, readonly Edge[]>;

  constructor(sources: readonly Source[], workspace: Workspace) {
    this.edges = sources.flatMap((source) =>
      importsOf(source).flatMap(({ specifier, line }) => {
        const to = resolveImport(workspace, source.path, specifier);
        return to === undefined ? [] : [{ from: source.path, to, line }];
      }),
    );
    const outgoing = new Map<string, Edge[]>(sources.map((source) => [source.path, []]));
    for (const edge of this.edges) outgoing.get(edge.from)?.push(edge);
    this.#outgoing = outgoing;
  }

  get files(): string[] {
    return [...this.#outgoing.keys()];
  }

  importsOf(file: string): readonly Edge[] {
    return this.#outgoing.get(file) ?? [];
  }

  /** `start` and every file reached from it by way of files that `within` admits. */
  reachableFrom(start: string, within: (file: string) => boolean): Set<string> {
    const reached = new Set([start]);
    for (const file of reached) {
      for (const { to } of this.importsOf(file)) if (within(to)) reached.add(to);
    }
    return reached;
  }
}

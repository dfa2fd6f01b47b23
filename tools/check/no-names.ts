import ts from 'typescript';
import { isTest, lineAt, type Source, walk } from '../source/source.ts';
import type { Finding } from './finding.ts';
import { inVirtio, partOf } from './layers.ts';

const deviceTypes =
  'balloon blk can console crypto entropy fs gpio gpu i2c input iommu media mem net pmem rpmb rtc scmi scsi sound spi vsock';
const transports = 'loopback mmio pci ccw';
const names = `${deviceTypes} ${transports}`.split(' ');

/** Words that are no English and no general term, so an identifier that holds one names a type. */
const tellingNames = 'balloon blk ccw entropy gpio gpu i2c loopback mmio pci pmem rpmb scmi scsi vsock'.split(
  ' ',
);

const exact = new Set(names);
const telling = new Set(tellingNames);
const prefixed = new RegExp(`virtio[-_](${names.join('|')})(?![a-z0-9])`, 'i');

/** The tables of the specification, whose entries are names, and the form in which a type declares its needs. */
const tables = new Set(
  ['clauses', 'ids', 'device-type'].map((table) => `packages/virtio/src/spec/${table}.ts`),
);

/**
 * Rule 4 of the layers: shared code never names one device type or one transport. A heuristic over the
 * strings and identifiers of layers 0 to 3; comments may name what they like.
 */
export function checkNoNames(sources: readonly Source[]): Finding[] {
  return sources.filter(({ path }) => isShared(path)).flatMap(checkSource);
}

function isShared(path: string): boolean {
  const layer = inVirtio(path) ? partOf(path)?.layer : undefined;
  return layer !== undefined && layer <= 3 && !isTest(path) && !tables.has(path);
}

function checkSource(source: Source): Finding[] {
  const findings: Finding[] = [];
  walk(source, (node) => {
    if (!namesOne(node)) return;
    const line = lineAt(source, node.getStart(source.tree));
    const message = `shared code names one device type or transport: ${node.getText(source.tree)}`;
    findings.push({ file: source.path, line, message });
  });
  return findings;
}

function namesOne(node: ts.Node): boolean {
  if (ts.isStringLiteralLike(node)) return exact.has(node.text.toLowerCase()) || prefixed.test(node.text);
  if (ts.isIdentifier(node))
    return prefixed.test(node.text) || wordsOf(node.text).some((word) => telling.has(word));
  return false;
}

/** `openPciWindow` and `OPEN_PCI_WINDOW` are open, pci, window. */
function wordsOf(identifier: string): string[] {
  return identifier
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split('_');
}

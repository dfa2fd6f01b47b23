import ts from 'typescript';
import { lineAt, type Source, walk } from './source.ts';

export interface Import {
  readonly specifier: string;
  readonly line: number;
}

/** Everything a file imports: statements, re-exports, `import()` and types written `import('…')`. */
export function importsOf(source: Source): Import[] {
  const imports: Import[] = [];
  walk(source, (node) => {
    const specifier = specifierOf(node);
    if (specifier && ts.isStringLiteralLike(specifier)) {
      imports.push({ specifier: specifier.text, line: lineAt(source, specifier.getStart(source.tree)) });
    }
  });
  return imports;
}

function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
    return node.arguments[0];
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return node.argument.literal;
  return undefined;
}

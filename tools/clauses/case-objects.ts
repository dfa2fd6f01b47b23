import ts from 'typescript';

/** The text of `name: '…'` in an object literal. */
function stringProperty(node: ts.ObjectLiteralExpression, name: string): string | undefined {
  for (const property of node.properties) {
    if (!ts.isPropertyAssignment(property) || property.name.getText() !== name) continue;
    if (ts.isStringLiteralLike(property.initializer)) return property.initializer.text;
  }
  return undefined;
}

/** What a conformance case says of itself; `undefined` for every other object. */
export function caseOf(node: ts.Node): { readonly clause: string; readonly statement: string } | undefined {
  if (!ts.isObjectLiteralExpression(node)) return undefined;
  const clause = stringProperty(node, 'clause');
  const statement = stringProperty(node, 'statement');
  return clause === undefined || statement === undefined ? undefined : { clause, statement };
}

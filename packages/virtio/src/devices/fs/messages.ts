import {
  type MessageReader,
  type TracedMessage,
  tracedFields,
  tracedStructure,
} from '../../device/traced-messages.ts';
import { fuseRequests, opcodeName, type RequestForm } from './spec-fuse-requests.ts';
import { fuse_in_header, fuse_out_header } from './spec-fuse-structs.ts';

/** What is in a request of FUSE and in its answer, for traces: the headers, and what stands right behind them. */
export const fsMessages: MessageReader = ({ queue, readable, written }) => {
  if (queue === 'notification') return written === undefined ? [] : tracedStructure(fuse_out_header, written);
  const { kind, form } = requestIn(readable);
  if (written === undefined) {
    const layout = form?.in;
    const behind = readable.length - fuse_in_header.size;
    return [
      ...tracedStructure(fuse_in_header, readable, 0, kind),
      ...(layout === undefined
        ? []
        : tracedFields(
            layout,
            readable,
            fuse_in_header.size,
            // Older drivers send less of some.
            Math.min(layout.size, Math.max(behind, form?.least ?? layout.size)),
          )),
    ];
  }
  const headers = tracedStructure(fuse_out_header, written, 0, kind);
  const isError = headers[0]?.fields.error !== 0;
  return [
    ...headers,
    ...(isError || form?.out === undefined ? [] : tracedStructure(form.out, written, fuse_out_header.size)),
  ];
};

function requestIn(readable: TracedMessage['readable']): {
  readonly kind: string | undefined;
  readonly form: RequestForm | undefined;
} {
  const [header] = tracedStructure(fuse_in_header, readable);
  const kind = typeof header?.fields.opcode === 'number' ? opcodeName(header.fields.opcode) : undefined;
  return { kind, form: kind === undefined ? undefined : fuseRequests[kind] };
}

export { answerLimit, type ConnectVhostUserOptions, connectVhostUser } from './connect.ts';

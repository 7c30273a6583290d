/** `/?room=NAME` leads into a room; `&transport=tcp` keeps its media off UDP. */
import { LocalMedia } from './call/local-media.ts';
import { Lobby } from './ui/lobby.ts';
import { RoomView } from './ui/room-view.ts';
import { newRoomName } from './room-name.ts';

const NAME_KEY = 'name';
const query = new URLSearchParams(location.search);
const app = document.getElementById('app') as HTMLElement;

function showLobby(notice: string | null): void {
  const media = new LocalMedia();
  const lobby = new Lobby({
    room: query.get('room') ?? newRoomName(),
    name: localStorage.getItem(NAME_KEY) ?? '',
    media,
    notice,
    onJoin: ({ room, name }) => {
      localStorage.setItem(NAME_KEY, name);
      query.set('room', room);
      history.replaceState(null, '', `/?${query.toString()}`);
      document.title = `${room} · Conference`;
      lobby.close();
      const tcp = query.get('transport') === 'tcp';
      app.append(new RoomView({ room, name, tcp }, media, showLobby).element);
    },
  });
  app.append(lobby.element);
}

showLobby(null);

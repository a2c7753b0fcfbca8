// SPDX-License-Identifier: MIT
// What browsers have and the compiler's library does not know yet; only what the page uses.

interface AudioEncoderConfig {
  codec: string;
  sampleRate: number;
  numberOfChannels: number;
  bitrate?: number;
  bitrateMode?: 'constant' | 'variable';
  opus?: {frameDuration?: number, complexity?: number};
}

interface AudioDecoderConfig {
  codec: string;
  sampleRate: number;
  numberOfChannels: number;
}

declare class AudioData {
  constructor(init: {
    format: 'f32', sampleRate: number, numberOfFrames: number, numberOfChannels: number, timestamp: number,
    data: BufferSource,
  });
  readonly numberOfFrames: number;
  copyTo(destination: BufferSource, options: {planeIndex: number, format?: 'f32-planar'}): void;
  close(): void;
}

declare class EncodedAudioChunk {
  constructor(init: {type: 'key' | 'delta', timestamp: number, data: BufferSource});
  readonly byteLength: number;
  copyTo(destination: BufferSource): void;
}

declare class AudioEncoder {
  constructor(init: {output: (chunk: EncodedAudioChunk) => void, error: (error: DOMException) => void});
  static isConfigSupported(config: AudioEncoderConfig): Promise<{supported: boolean}>;
  readonly state: 'unconfigured' | 'configured' | 'closed';
  configure(config: AudioEncoderConfig): void;
  encode(data: AudioData): void;
  close(): void;
}

declare class AudioDecoder {
  constructor(init: {output: (data: AudioData) => void, error: (error: DOMException) => void});
  static isConfigSupported(config: AudioDecoderConfig): Promise<{supported: boolean}>;
  readonly state: 'unconfigured' | 'configured' | 'closed';
  configure(config: AudioDecoderConfig): void;
  decode(chunk: EncodedAudioChunk): void;
  close(): void;
}

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;
declare const sampleRate: number;
declare const currentFrame: number;
declare const currentTime: number;

interface AudioContext {
  setSinkId?(deviceId: string): Promise<void>;
}

interface Document {
  readonly permissionsPolicy?: {allowsFeature(name: string): boolean};
  readonly featurePolicy?: {allowsFeature(name: string): boolean};
}
